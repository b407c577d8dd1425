"""What panels would make, save and cost."""
