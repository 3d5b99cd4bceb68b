"""The run time: object code to memory, sizes and strides to CallArgs, calls to threads."""
