"""Statistics of the claims: reads surveys, and nothing else (STUDY, 'Statistics').

`claims.claims` makes the whole table from Datasets, `claims.write_claims` from stores. The modules
below it each answer some claims; `verdicts` says what a row is and how its verdict is found.
`leaderboard` compares measures and tests no claim. `bootstrap` and `resampled` hold the resampling
that all of them share.
"""
