-- One row an event: the columns that send_many knows by their names, and the event's properties.
select
  'order-' || order_id as message_id,
  customer as user_id,
  ordered_at at time zone 'UTC' as timestamp,
  total::decimal(9, 2) as revenue
from {{ ref('raw_orders') }}
where status = 'completed'
