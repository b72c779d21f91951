"""What this computer is and has: processor, memory, graphics cards, installed packages, speed."""
