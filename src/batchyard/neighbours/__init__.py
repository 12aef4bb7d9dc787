"""The other AWS services a Batch user touches, on the same port."""
