"""Students for real photographs: scores, speed, crops, and the recipe of their comparison."""
