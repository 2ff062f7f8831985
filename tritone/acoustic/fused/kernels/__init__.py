"""The fused operators in the language of the package `triton`, which alone this folder imports.

Rows are frames of all streams, one after another. Sums are float32, what is stored has the type of
what it is stored in. Sizes of a network are constants, those of a call are not, so that no call
compiles again: names in capitals are constants. Blocks are powers of two, filled up with zeros.
"""
