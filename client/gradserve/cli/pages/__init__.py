"""What commands print: each page as a document for programs, as plain text, and for a terminal."""
