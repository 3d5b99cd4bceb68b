"""Both IRs printed and parsed."""
