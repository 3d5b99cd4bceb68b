"""Tests of the control-flow passes."""
