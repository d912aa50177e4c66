"""What watches over models and data: leak sentinels. Pure statistics; asset checks are checks.py."""
