-- Rule 7, nothing is lost, on every build: each line of the latest loader commits is kept, repeats
-- a line that is kept, or is in quarantine with its reason. Unseen, a sale that silver lost would
-- leave stock on a shelf that is empty. `conservation_commits` says how many commits back this
-- looks: fewer make a build faster, more cover a build that takes in many commits at once. All of
-- them: assert_every_line_ever_is_accounted_for.
{{ config(tags=['every_build']) }}

{{ lines_not_accounted_for(commits=var('conservation_commits', 10)) }}
