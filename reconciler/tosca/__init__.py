"""TOSCA: a service of the catalogue, with its inputs, becomes a topology of machines, volumes and software.

Stands under `kinds`: pure, works on parsed values, knows neither git nor any back-end. Inputs and functions
are resolved here; tosca-parser is asked only whether types and requirements fit (`check`).

Sources of the format: OASIS, TOSCA Simple Profile in YAML 1.0 and 1.2; names and properties of
INDIGO-DataCloud's custom types as public templates use them.
"""
