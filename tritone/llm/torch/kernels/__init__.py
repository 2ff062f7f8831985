"""What a language model's step launches, in the language of the package `triton`, which the modules
of this folder import.

Rows are positions of streams, one of each in a step, many of one where a prompt is read. Sums are
float32, what is stored has the type of what it is stored in. Sizes of a network are constants,
those of a call are not: names in capitals are constants.
"""

from tritone.operators import Launcher

launch = Launcher(__name__)
