"""What runs kernels in C on tensors of torch, on processors of which it leaves most units idle."""
