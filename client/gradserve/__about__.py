"""The version of Gradserve, written here alone: the build, the client and the server all read it."""

__version__ = "0.1.0"
