"""What radiologists have: volumes that lie in a patient, read and written."""
