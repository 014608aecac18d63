"""Runs that have failed and are not over: do their attempts make progress, or burn money?"""
