-- All times are UTC. In a session of another time zone a text without zone becomes another
-- instant, so that an event may fall on the wrong side of a count by hours, and on the wrong date.

select
    current_timezone() as session_time_zone,
    timestamp '2021-01-01 00:00:00' as local_midnight
where
    current_timezone() not in ('UTC', 'Etc/UTC', 'Z', '+00:00')
    or unix_timestamp(timestamp '2021-07-01 00:00:00') <> 1625097600
