"""What people read: tables, model cards, pictures."""
