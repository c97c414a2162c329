"""What runs beside a person who works on an image: where results lie, what is done meanwhile."""
