"""Measurements that take minutes: how much the tuner can be trusted, and tables of real machines to replay."""
