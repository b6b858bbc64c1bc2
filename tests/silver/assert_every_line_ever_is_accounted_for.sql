-- Rule 7, nothing is lost, over all that was ever received: the same as
-- assert_every_line_is_accounted_for, which looks at the latest commits. Reads every message
-- again.
{{ config(tags=['full']) }}

{{ lines_not_accounted_for() }}
