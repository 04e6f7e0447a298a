"""Reading images and PDFs, writing results, drawing."""
