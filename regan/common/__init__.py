"""Progress lines, files and text, which every room uses."""
