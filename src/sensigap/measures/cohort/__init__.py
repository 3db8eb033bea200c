"""The measures of one cohort, from its weights and data set to a store; one module a measure."""
