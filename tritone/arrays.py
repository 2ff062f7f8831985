"""Arrays as they travel between stages: numpy float32 or int32, without a batch dimension."""

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
