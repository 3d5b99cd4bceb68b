"""What is compiled for: instruction sets, and the schedules that were measured on them."""
