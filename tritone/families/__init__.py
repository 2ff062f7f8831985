"""Model families. A family is one module with one value, `FAMILY`; `config.json` names it."""
