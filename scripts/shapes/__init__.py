"""How the small pipeline that draws coloured shapes is made."""
