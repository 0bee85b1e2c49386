"""The tiny shop's Spark properties and TOML: the deployment, and what it has beside with `add_plans`."""

PROPERTIES = """
spark.master                                   local[2,3]
spark.driver.memory                            4g
spark.ui.retainedJobs                          20
spark.ui.retainedStages                        20
spark.ui.retainedTasks                         1000
spark.sql.ui.retainedExecutions                5
spark.sql.maxPlanStringLength                  4000
spark.jars.packages                            io.delta:delta-spark_4.2_2.13:4.4.0
spark.sql.extensions                           io.delta.sql.DeltaSparkSessionExtension
spark.sql.catalog.spark_catalog                org.apache.spark.sql.delta.catalog.DeltaCatalog
spark.sql.session.timeZone                     UTC
spark.sql.shuffle.partitions                   2
spark.sql.sources.parallelPartitionDiscovery.parallelism  2
spark.databricks.delta.snapshotPartitions      1
spark.ui.enabled                               false
spark.ui.showConsoleProgress                   false
spark.log.level                                ERROR
spark.sql.codegen.wholeStage                   false
spark.sql.codegen.factoryMode                  NO_CODEGEN
spark.driver.extraJavaOptions      -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC -Xmn512m
"""

CONF = """
name = "tiny_shop"
users = "customers"
lake = "{lake}"
landing = "{landing}"
spark = "{spark}"

[sources.events]
files = "sales/*"
columns = ["line_id", "customer", "sku", "units", "amount", "till", "at"]
max_rejected_share = 0.5

[sources.events.map]
occurred_at = "at"
user_id = "customer"
item_id = "sku"
location_id = "till"
quantity = "abs(try_cast(units AS DECIMAL(18,3)))"
unit_price = "amount / abs(units)"
event_type = "CASE WHEN units < 0.0 THEN 'return' ELSE 'purchase' END"

[sources.events.reject]
"amount is negative" = "log.amount < 0"

[sources.items]
files = "catalogue/*.csv"
columns = ["sku", "name", "kind"]

[sources.items.map]
item_id = "sku"
text = "lower(concat_ws(', ', name, kind))"
title = "name"
category = "kind"

[sources.items.reject]
"no product" = "log.kind = 'service'"

[encoder]
base = "{base}"

[jobs.train_model]
encoder_steps = 2
learn_steps = 4
ranker_nights = 2
trees = 5

[jobs.evaluate_recommendations]
segment = "location_id"
ablation_rows = 5000
listed = true

[jobs.rank_recommendations]
top_k = 8

[jobs.profile_users]
trees = 5

[jobs.train_profiles]
trees = 5

[jobs.evaluate_profiles]
trees = 5
earlier_cuts = 1

[jobs.find_similar_items]
top_k = 5

[jobs.build_default_recommendations]
segment = "location_id"
top_k = 8
"""

# What else a retailer may have: stock, what moving it costs, campaigns and what came of them, promotions, customers.
PLANS_CONF = """
[sources.stock]
files = "stock/*.csv"
columns = ["till", "sku", "there", "ordered", "lead"]

[sources.stock.map]
location_id = "till"
item_id = "sku"
on_hand = "there"
on_order = "ordered"
lead_time_days = "lead"

[sources.ways]
files = "ways/*.csv"
columns = ["giver", "taker", "each"]

[sources.ways.map]
from_location_id = "giver"
to_location_id = "taker"
cost = "each"

[sources.campaigns]
files = "campaigns/campaigns_*.csv"
columns = ["campaign", "kind", "begins", "ends", "items", "most"]

[sources.campaigns.map]
campaign_id = "campaign"
kind = "kind"
starts_on = "begins"
ends_on = "ends"
items = "split(items, ';')"
max_audience = "most"

[sources.campaign_items]
files = "campaigns/items_*.csv"
columns = ["campaign", "sku"]

[sources.campaign_items.map]
campaign_id = "campaign"
item_id = "sku"

[sources.ad_events]
files = "ads/*.csv"
columns = ["id", "what", "customer", "campaign", "at"]

[sources.ad_events.map]
event_id = "id"
event_type = "what"
user_id = "customer"
campaign_id = "campaign"
occurred_at = "at"

[sources.promotions]
files = "promotions/*.csv"
columns = ["sku", "till", "begins", "ends", "shelf"]

[sources.promotions.map]
item_id = "sku"
location_id = "till"
starts_on = "begins"
ends_on = "ends"
display = "shelf"

[sources.users]
files = "customers/*.csv"
columns = ["customer", "age", "town"]

[sources.users.map]
user_id = "customer"
attributes = "map('age', age, 'town', town)"
"""
# Campaign -> its first and last day and the kind of item that it is for.
