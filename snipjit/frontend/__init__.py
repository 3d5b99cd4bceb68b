"""What users call: the backend, exported programs, explanations and files."""
