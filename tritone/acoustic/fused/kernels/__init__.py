"""The fused operators in the language of the package `triton`, which the modules of this folder
import.

Rows are frames of all streams, one after another. Sums are float32, what is stored has the type of
what it is stored in. Sizes of a network are constants, those of a call are not, so that no call
compiles again: names in capitals are constants. Blocks are powers of two, filled up with zeros.
"""

from tritone.operators import Launcher

launch = Launcher(__name__)
