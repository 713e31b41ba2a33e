"""An hour of mixed load against a whole service: does it stay as small as it was, and lose nothing?"""
