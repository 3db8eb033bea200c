"""Statistics of the claims: reads surveys, and nothing else (STUDY, 'Statistics').

`claims.claims` makes the whole table from Datasets, `claims.write_claims` from stores. The modules
below it each answer some claims: `size_and_loss` C0, `paths` C1, `sensitivity_and_gap` C2,
`factors` C3, C4 and C6, `point_rows` C5. `errors` holds the two parts of every row's error,
`groups` the axes by which a row may be mixed, `verdicts` what a row is and how its verdict is
found. The definitions are those of STATISTICS, section 6. `leaderboard` compares measures and tests
no claim. `bootstrap`, `ranks` and `resampled` hold the resampling that all of them share.
"""
