"""One module for each section of the page "Performance"; `pairs` measures each framework beside the raw app."""
