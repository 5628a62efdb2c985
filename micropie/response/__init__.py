"""What a handler answers with: values that become responses, and templates."""
