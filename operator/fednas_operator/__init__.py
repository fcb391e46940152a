"""The controller of FederatedSearch resources: observe, plan, act.

kopf only informs. An event puts the key of a search into a queue; `reconcile` reads the world
afresh (`observe`), a pure function decides (`plan`), and the actions are carried out (`act`).
Nothing is remembered between two passes that cannot be lost: the operator may be killed at any
time.
"""
