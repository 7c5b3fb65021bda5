"""What Firnline can answer of a stream: one package a view, behind the contract in `view`. Pure.

Imports columns and timeline alone. The engine imports `view`; the gateway imports `view` and `kinds`.
"""
