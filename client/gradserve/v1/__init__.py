"""The wire contract, version 1: code generated from protos/gradserve/v1 by `make protos`."""
