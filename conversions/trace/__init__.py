"""A forward pass is recorded: the functions of torch that it calls, the numbers that it computes from sizes."""
