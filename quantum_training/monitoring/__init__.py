"""What watches over models and data: leak sentinels and drift. Pure statistics; asset checks are checks.py."""
