"""What KastleX's permissions.yml can allow: thirteen actions, with names or without, and five that KastleX lacks."""

from __future__ import annotations

WITHOUT_NAME = {
    "list_topics": "List the topics.",
    "list_brokers": "List the brokers.",
    "list_urps": "List the partitions that lack replicas, of all topics.",
    "list_groups": "List the consumer groups.",
    "reload": "Have the files of users read again.",
    "revoke": "Revoke a user's tokens.",
}

WITH_NAMES = {
    "show_topic": "See what a topic is made of.",
    "show_offsets": "See the offsets of a topic.",
    "produce": "Publish to a topic.",
    "fetch": "Read a topic.",
    "show_urps": "See the partitions of a topic that lack replicas.",
    "show_broker": "See one broker, by its number.",
    "show_group": "See one consumer group.",
}

ACTIONS = {**WITHOUT_NAME, **WITH_NAMES}

BEYOND = {
    "create_topic": "Create a topic.",
    "alter_topic": "Change how a topic is kept.",
    "delete_topic": "Delete a topic and all that is in it.",
    "commit_group": "Read as a member of a consumer group, whoever's it is, and commit its offsets.",
    "reset_group": "Move a consumer group to other offsets, or delete it, whoever's it is.",
}

KNOWN = {**ACTIONS, **BEYOND}
