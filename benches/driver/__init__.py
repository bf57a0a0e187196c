"""What `bench.py` and `large.py` are made of."""
