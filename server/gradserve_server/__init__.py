"""The server of Gradserve: hosts PyTorch MLPs and answers Forward and Gradient over gRPC."""
