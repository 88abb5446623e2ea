"""The verbs of a pointer, one subject a file; `arguments` checks a call and names the verb it means."""
