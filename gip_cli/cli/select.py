def select(): "x"
