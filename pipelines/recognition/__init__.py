"""What a line says: images of lines -> scores of classes -> text."""
