"""How many machines a load needs: one that was measured, and a simulated fleet of it."""
