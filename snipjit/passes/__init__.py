"""The four stages: fx (tokenization), graph (data flow), linear (control flow), llvm (emission)."""
