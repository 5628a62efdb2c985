"""Sessions: where they are stored, and what one connection sees and changes of one."""
