"""How a call is judged: Cedar policies, woven, sliced and asked."""
