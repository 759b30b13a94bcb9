"""What stateguard costs, measured. Every benchmark compares within one run and prints ratios."""
